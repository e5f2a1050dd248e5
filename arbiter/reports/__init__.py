"""What people read about decisions and policies: text, JSON and pages."""

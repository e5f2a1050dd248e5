"""What is wrong or doubtful in a policy, before anybody decides by it."""

"""How large an installation must be for a load, from what the load tests measured on this build."""

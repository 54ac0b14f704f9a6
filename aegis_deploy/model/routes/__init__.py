"""What is spoken of ways in from outside: routes, Gateways, certificates. Pure."""

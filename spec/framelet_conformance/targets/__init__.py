"""The peers under test: launching and reaching servers, and clients by way of their adapters."""

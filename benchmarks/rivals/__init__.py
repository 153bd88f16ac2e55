"""The packages that descend is measured against, one adapter a file."""

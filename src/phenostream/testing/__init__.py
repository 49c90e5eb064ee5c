"""Exams, servers and strategies for whoever extends phenostream; no room of the product imports them."""

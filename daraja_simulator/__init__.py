"""A stand-in for Safaricom's Daraja API, for development and tests: `python -m daraja_simulator`.

It imports nothing of Ticksy and moves no money. What it answers has the shapes Safaricom publishes
("Authorization", "M-PESA Express", "M-PESA Express Query"); what becomes of a payment depends on the phone
number (scenarios.py) or on whoever holds the virtual phone (/phone).
"""

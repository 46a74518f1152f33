"""What Ticksy does. A service is given its `actor`, returns models or raises a named error, and knows no HTTP."""

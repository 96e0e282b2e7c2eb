"""Files read that may be damaged or made to do harm, and files written whole or not at all."""

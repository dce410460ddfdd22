"""What every public function makes of hostile input: ``python -m tests.hostile`` prints the table.

``kinds`` says what is hostile about a value, ``rows_...`` name each function with arguments that are right,
``trial`` tries one on the other and judges what came of it.
"""

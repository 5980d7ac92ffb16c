"""A customer's taxes: what they told us, what they chose, what they owe and may still realise.

`profiles` keeps what they told us, sealed; `choosing` what they chose; `standings` says what both
come to on a day; `filing` what the year's forms would say; `contributing` what an IRA may take.
"""

"""What came out: tables, figures, verdict, and the report's page.

Imports `claims`, `planning` and `storage`.
Start reading with `tables.py`, then `report_data.py`.
"""

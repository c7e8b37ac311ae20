"""Asks a file of Parquet, by DuckDB: a query, its rows as JSON."""

import json
import sys

import duckdb

file, query = sys.argv[1:]
rows = duckdb.sql(query.replace("$file", f"read_parquet('{file}')")).fetchall()
json.dump(rows, sys.stdout, default=str)

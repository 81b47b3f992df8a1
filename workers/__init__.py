"""The processes behind the API, each startable many times over: `python -m workers apply | deliver | clock`.

`apply` and `deliver` are RQ workers that answer doorbells; the jobs are a few lines over the domain. `clock` finds what
a lost doorbell left behind, and keeps house. None of them knows Flask.
"""

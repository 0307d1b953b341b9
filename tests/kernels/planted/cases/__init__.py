"""The cases: how each wrong kernel is called, what must be reported"""

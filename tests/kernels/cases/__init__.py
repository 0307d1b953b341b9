"""The cases: what each kernel of ../*.py is compiled for, its inputs, its reference in float64, its tolerance"""

"""Weights as the kernels take them: each in the form that takes the fewest bytes and gives the same numbers.

What a form is, and what of it is constant data, is in `stored`; a module each for the forms that are tried. A form is
found in the numbers themselves, whatever nodes a file decodes them with: few values that are not zero, few values at
all, few values in each row. So every lowering of `dtc compress` leads here, and so does the file of another tool.
"""

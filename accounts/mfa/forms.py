from django import forms

from opssight.kernel.validation import StrictForm


class CodeForm(StrictForm):
    code = forms.CharField(label="Code", max_length=32)

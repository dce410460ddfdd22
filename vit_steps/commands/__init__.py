"""Commands: what the words of ``vit-steps`` do that no other room does.

They lay the lessons into a folder (course), open them in JupyterLab (lab), and say what does not fit on a
machine (doctor). The table of all words is :mod:`vit_steps.__main__`.
"""

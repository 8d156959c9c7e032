"""Writes down the options of a script that reads them by argparse.

Only for `hpsearch init`; the script ends once they are written.
"""

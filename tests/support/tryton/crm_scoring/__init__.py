"""A Tryton module: the fields that scores and follow-ups are imported into. Copied into Tryton's environment by `set_up`.

Tryton 8.2 registers the classes that `tryton.cfg` names; a `register()` as well would register them twice.
"""

"""Follow-ups: one record per queue entry, told apart by a key that may exist once."""

from trytond.model import ModelSQL, ModelView, Unique, fields


class FollowUp(ModelSQL, ModelView):
    """The key is the record's name, so that an import finds it again."""

    __name__ = "crm.follow_up"
    _rec_name = "key"
    _history = True

    key = fields.Char("Key", required=True)
    opportunity = fields.Many2One("sale.opportunity", "Opportunity", required=True, ondelete="CASCADE")
    action = fields.Char("Action", required=True)
    due_date = fields.Date("Due Date", required=True)
    reason = fields.Text("Reason")
    state = fields.Selection(
        [("open", "Open"), ("done", "Done"), ("withdrawn", "Withdrawn")], "State", required=True, sort=False
    )

    @classmethod
    def __setup__(cls):
        super().__setup__()
        table = cls.__table__()
        cls._sql_constraints += [("key_unique", Unique(table, table.key), "crm_scoring.msg_key_unique")]

    @staticmethod
    def default_state():
        return "open"

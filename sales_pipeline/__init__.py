"""Sales Pipeline: CRM exports in, scored opportunities and a follow-up queue out. Plain Python; knows no orchestrator."""

__version__ = "0.1.0"

"""The same with Arbiter's own client: `python ask_with_client.py CUSTOMER CATEGORY`.

Keys, partitions, repeats, order, permits and recalls are its business.
"""

from __future__ import annotations

import os
import sys

from arbiter.client import Client, PermitExpired, PermitVoid, stable_id


def main(customer: str, category: str) -> int:
    """Ask, and do what is decided. Exit code 1 if the customer must not be contacted."""
    with Client(os.environ["ARBITER_KAFKA"], "shop", topic_prefix=os.environ.get("ARBITER_TOPIC_PREFIX", "")) as client:
        ticket = client.request(
            request_id=stable_id("welcome-client", category, customer),
            customer_id=customer,
            campaign="welcome",
            channel="email",
            category=category,
        )
        for decision in ticket.decisions():
            print(decision.outcome, customer, decision.why)
            if decision.permit is None:
                continue  # deferred or recalled: it comes back by itself; after a rejection the loop ends
            try:
                client.use(decision.permit)  # waits until it opens
            except (PermitVoid, PermitExpired):
                client.not_sent(decision.permit)
                continue
            print(f"e-mail to {customer}, key {decision.decision_id}")
            client.confirm(decision.permit)
            return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

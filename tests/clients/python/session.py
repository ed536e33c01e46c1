"""A logged-in simple-salesforce."""

from simple_salesforce import Salesforce

import org


def connect(version="62.0"):
    """Logs in by a signed assertion."""
    return Salesforce(
        username=org.USERNAME,
        consumer_key=org.CLIENT_ID,
        privatekey_file=str(org.KEY),
        version=version,
    )

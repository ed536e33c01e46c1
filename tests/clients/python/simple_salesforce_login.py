"""simple-salesforce: JWT bearer, client credentials, an existing session, an expired session.

The client builds its login addresses itself, https://DOMAIN.salesforce.com; the harness routes
them to the org.
"""

from simple_salesforce import Salesforce, SalesforceLogin
from simple_salesforce.exceptions import (
    SalesforceAuthenticationFailed,
    SalesforceExpiredSession,
)

import org
from org import equal, holds, refused


def jwt(**changes):
    """Logs in with a signed assertion; `exp` is a JSON string."""
    facts = {
        "username": org.USERNAME,
        "consumer_key": org.CLIENT_ID,
        "privatekey_file": str(org.KEY),
        "version": "62.0",
    }
    return Salesforce(**{**facts, **changes})


sf = jwt()
equal(sf.auth_type, "jwt-bearer", "kind of login")
me = sf.oauth2("userinfo")
equal(me["preferred_username"], org.USERNAME, "the assertion's subject is who we are")
equal(me["organization_id"][:15], sf.session_id.split("!")[0], "a token begins with its org")

wrong = refused(SalesforceAuthenticationFailed, lambda: jwt(consumer_key="unknown"), "an unknown app")
equal(wrong.code, "invalid_client_id", "code for an unknown app")
stranger = refused(
    SalesforceAuthenticationFailed, lambda: jwt(username="unknown@acme.example"), "an unknown user"
)
equal(stranger.code, "invalid_grant", "code for an unknown user")
equal(stranger.auth_message, "user hasn't approved this consumer", "text for an unknown user")

credentials = Salesforce(
    consumer_key=org.CLIENT_ID,
    consumer_secret=org.CLIENT_SECRET,
    domain="acme.my",
    version="62.0",
)
equal(credentials.auth_type, "client-credentials", "kind of login")
equal(
    credentials.oauth2("userinfo")["preferred_username"],
    org.USERNAME,
    "the app runs as its configured user",
)

session, instance = SalesforceLogin(
    username=org.USERNAME, consumer_key=org.CLIENT_ID, privatekey_file=str(org.KEY)
)
direct = Salesforce(instance=instance, session_id=session, version="62.0")
equal(direct.auth_type, "direct", "kind of login")
holds(direct.query("SELECT Id FROM User")["totalSize"] > 0, "a session works where it was opened")

# An expired session is an error without credentials, and one more login with them.
dead = Salesforce(instance=instance, session_id=f"{session}x", version="62.0")
error = refused(SalesforceExpiredSession, lambda: dead.query("SELECT Id FROM User"), "a dead session")
equal(org.code(error), "INVALID_SESSION_ID", "code for a dead session")
sf.session_id = f"{session}x"
sf._generate_headers()
holds(sf.query("SELECT Id FROM User")["totalSize"] > 0, "a dead session is replaced by a new login")
holds(not sf.session_id.endswith("x"), "the new session is kept")

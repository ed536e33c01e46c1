//! The credentials of the built-in org. They work only in a local org and are not secret.

/// Consumer key of the built-in connected app.
pub const CLIENT_ID: &str = "local-only-client-id";

/// Consumer secret of the built-in connected app.
pub const CLIENT_SECRET: &str = "local-only-client-secret";

/// The integration user that the app runs as.
pub const INTEGRATION_USER: &str = "integration@acme.example";

/// The password of the integration user.
pub const PASSWORD: &str = "local-only-password";

/// The security token of the integration user, which may follow the password.
pub const SECURITY_TOKEN: &str = "local-only-security-token";

/// A refresh token of the built-in app for the integration user.
pub const REFRESH_TOKEN: &str = "local-only-refresh-token";

/// A user who works in the org by hand.
pub const PERSON: &str = "kim@acme.example";

/// The private key (PEM) whose public half the built-in app trusts.
pub const PRIVATE_KEY: &str = include_str!("../keys/local-only-private.pem");

/// The public key (PEM) that the built-in app trusts.
pub const PUBLIC_KEY: &str = include_str!("../keys/local-only-public.pem");

//! Tests of what change events say.

//! Two-way façade over the record plan.

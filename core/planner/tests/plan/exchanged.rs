//! Exchanges the sides of a plan.

use syncline_planner::record::{Agreement, Confirmation, Rule};

use crate::fixture::NamedPlan;

/// Returns the plan of the record whose sides are exchanged.
pub(crate) fn exchanged(plan: NamedPlan) -> NamedPlan {
    let after = |after| match after {
        Confirmation::Agreed => Confirmation::Agreed,
        Confirmation::Postgres => Confirmation::Salesforce,
        Confirmation::Salesforce => Confirmation::Postgres,
    };
    let mut plan = NamedPlan {
        to_postgres: plan.to_salesforce.clone(),
        to_salesforce: plan.to_postgres.clone(),
        ..plan
    };
    for step in plan.base_advance.values_mut() {
        step.after = after(step.after);
    }
    plan.agreement = match plan.agreement {
        Agreement::Stays => Agreement::Stays,
        Agreement::Begins(step) => Agreement::Begins(after(step)),
        Agreement::Ends(step) => Agreement::Ends(after(step)),
    };
    for conflict in &mut plan.conflicts {
        std::mem::swap(&mut conflict.postgres, &mut conflict.salesforce);
    }
    for lost in &mut plan.discarded {
        lost.side = lost.side.other();
        lost.rule = exchanged_rule(lost.rule);
        std::mem::swap(&mut lost.edited.postgres, &mut lost.edited.salesforce);
    }
    plan.explanation.record = exchanged_rule(plan.explanation.record);
    for rule in plan.explanation.fields.values_mut() {
        *rule = exchanged_rule(*rule);
    }
    plan
}

fn exchanged_rule(rule: Rule) -> Rule {
    let pairs = [
        (Rule::PostgresChanged, Rule::SalesforceChanged),
        (Rule::PostgresOwns, Rule::SalesforceOwns),
        (Rule::PostgresWins, Rule::SalesforceWins),
        (Rule::SeededFromPostgres, Rule::SeededFromSalesforce),
        (Rule::CreatedInPostgres, Rule::CreatedInSalesforce),
        (Rule::DeletedInPostgres, Rule::DeletedInSalesforce),
    ];
    let other = |(one, other)| match rule {
        rule if rule == one => Some(other),
        rule if rule == other => Some(one),
        _ => None,
    };
    pairs.into_iter().find_map(other).unwrap_or(rule)
}

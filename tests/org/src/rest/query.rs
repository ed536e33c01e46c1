//! Queries over REST: pages of results and the locators of the next pages.

mod columns;

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::Call;
use super::message::Response;
use crate::Org;
use crate::model::Model;
use crate::model::error::SfError;
use crate::model::id::RecordId;
use crate::model::schema::ObjectNo;
use crate::model::table::RowNo;
use crate::soql::{self, LOCATOR_PREFIX, LeftOver, SelectNode, Writer};
use crate::unconfirmed::CHILDREN_PER_PAGE;
use crate::unconfirmed::switches::QueryLocatorLife;

/// The largest page, and the smallest one that a client can request.
const PAGE_MAX: usize = 2_000;
const PAGE_MIN: usize = 200;

/// Maximum number of characters that the fields of a page could hold together.
const PAGE_CHARS_MAX: usize = 20_000_000;

/// Maximum number of open queries per user; another one closes the oldest. Child lists belong to
/// their query.
const CURSORS_MAX: usize = 10;

/// Queries with pages that were not read yet.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Cursors {
    open: VecDeque<Cursor>,
    /// Number of locators so far.
    locators: u32,
}

/// A query: its own rows, and its child lists that are longer than a page.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    user: RecordId,
    used_ms: i64,
    statement: String,
    lists: BTreeMap<RecordId, List>,
}

/// A list of rows that is read in pages.
#[derive(Debug, Serialize, Deserialize)]
struct List {
    /// Index of the rows' subquery in the select list; `None` for the query itself.
    subquery: Option<usize>,
    object: ObjectNo,
    /// Derived from the statement.
    #[serde(skip)]
    nodes: Vec<SelectNode>,
    rows: Vec<RowNo>,
    page_rows: usize,
}

impl Cursors {
    /// Stores a query. If its user has too many, the oldest one is closed.
    fn keep(&mut self, cursor: Cursor) {
        let user = cursor.user;
        self.open.push_back(cursor);
        let own = self.open.iter().filter(|cursor| cursor.user == user);
        if own.count() > CURSORS_MAX
            && let Some(oldest) = self.open.iter().position(|cursor| cursor.user == user)
        {
            self.open.remove(oldest);
        }
    }

    /// Returns the index of the query with a locator.
    fn find(
        &mut self,
        (id, user): (RecordId, RecordId),
        life: QueryLocatorLife,
        now_ms: i64,
    ) -> Option<usize> {
        let life_ms = match life {
            QueryLocatorLife::FifteenMinutes => 15 * 60_000,
            QueryLocatorLife::TwoDays => 2 * 86_400_000,
        };
        self.open
            .retain(|cursor| cursor.used_ms + life_ms >= now_ms);
        let known = |cursor: &Cursor| cursor.user == user && cursor.lists.contains_key(&id);
        let place = self.open.iter().position(known)?;
        self.open[place].used_ms = now_ms;
        Some(place)
    }
}

impl Cursor {
    /// Stores the child rows that did not fit on a page.
    fn add(&mut self, nodes: &[SelectNode], left_over: Vec<LeftOver>) {
        for LeftOver {
            locator,
            place,
            rows,
        } in left_over
        {
            let Some(SelectNode::Children { plan, .. }) = nodes.get(place) else {
                continue;
            };
            let list = List {
                subquery: Some(place),
                object: plan.object,
                nodes: plan.select.clone().unwrap_or_default(),
                rows,
                page_rows: CHILDREN_PER_PAGE,
            };
            self.lists.insert(locator, list);
        }
    }

    /// Resolves the select list again, or returns `false` if the statement is no longer valid.
    fn rebind(&mut self, model: &Model) -> bool {
        let plan = soql::parse(&self.statement)
            .and_then(|query| soql::bind(model.view(self.user), &query));
        let Some(nodes) = plan.ok().and_then(|plan| plan.select) else {
            return false;
        };
        for list in self.lists.values_mut() {
            list.nodes = match list.subquery.map(|place| nodes.get(place)) {
                None => nodes.clone(),
                Some(Some(SelectNode::Children { plan, .. })) => {
                    plan.select.clone().unwrap_or_default()
                }
                Some(_) => return false,
            };
        }
        true
    }
}

impl Org {
    /// Handles `/query` and `/queryAll`.
    pub(crate) fn query(
        &mut self,
        call: &Call<'_>,
        with_deleted: bool,
    ) -> Result<Response, SfError> {
        let text = call
            .request
            .param("q")
            .filter(|q| !q.trim().is_empty())
            .ok_or_else(|| {
                SfError::new(
                    "MALFORMED_QUERY",
                    "A query has to be given in the parameter q.",
                )
            })?;
        let query = soql::parse(&text)?;
        let view = self.view(call);
        let plan = soql::bind(view, &query).map_err(|e| soql::explained(&text, e))?;
        if call.request.param("columns").as_deref() == Some("true") {
            let described = columns::describe(view, &plan);
            return Ok(Response::json(200, described.to_string()));
        }
        let rows = soql::rows(view, &plan, with_deleted);
        if let Some(aggregation) = &plan.aggregation {
            let groups = soql::groups(view, &plan, aggregation, &rows)?;
            let (count, groups) = (groups.len(), groups.join(","));
            let body = format!(r#"{{"totalSize":{count},"done":true,"records":[{groups}]}}"#);
            return Ok(Response::json(200, body));
        }
        let Some(nodes) = plan.select else {
            let count = rows.len();
            let body = format!(r#"{{"totalSize":{count},"done":true,"records":[]}}"#);
            return Ok(Response::json(200, body));
        };
        let fitting = fitting_rows(&self.model, plan.object, &nodes);
        let list = List {
            subquery: None,
            object: plan.object,
            nodes,
            rows,
            page_rows: page_size(call.request.get("sforce-query-options")).min(fitting),
        };
        self.cursors.locators += 1;
        let locator = RecordId::numbered(LOCATOR_PREFIX, self.cursors.locators);
        let (body, left_over) = self.page(call, (locator, &list), 0);
        let mut cursor = Cursor {
            user: call.actor.user,
            used_ms: self.now_ms(),
            statement: text,
            lists: BTreeMap::new(),
        };
        cursor.add(&list.nodes, left_over);
        if list.rows.len() > list.page_rows {
            cursor.lists.insert(locator, list);
        }
        if !cursor.lists.is_empty() {
            self.cursors.keep(cursor);
        }
        Ok(Response::json(200, body))
    }

    /// Handles `/query/<locator>`.
    pub(crate) fn query_more(
        &mut self,
        call: &Call<'_>,
        locator: &str,
    ) -> Result<Response, SfError> {
        let invalid = || SfError::new("INVALID_QUERY_LOCATOR", "invalid query locator");
        let (id, start) = locator.rsplit_once('-').ok_or_else(invalid)?;
        let id = RecordId::parse(id).ok_or_else(invalid)?;
        let start: usize = start.parse().map_err(|_| invalid())?;
        let now_ms = self.now_ms();
        let life = self.model.switches.query_locator_life;
        let found = self.cursors.find((id, call.actor.user), life, now_ms);
        let place = found.ok_or_else(invalid)?;
        let lists = &mut self.cursors.open[place].lists;
        let list = lists.remove(&id).ok_or_else(invalid)?;
        let page = (start < list.rows.len()).then(|| self.page(call, (id, &list), start));
        let (body, left_over) = page.unzip();
        let cursor = &mut self.cursors.open[place];
        cursor.add(&list.nodes, left_over.unwrap_or_default());
        cursor.lists.insert(id, list);
        body.map(|body| Response::json(200, body))
            .ok_or_else(invalid)
    }

    /// Resolves the queries of a dump again. Queries that are no longer valid are closed.
    pub(crate) fn rebind_cursors(&mut self) {
        let model = &self.model;
        self.cursors.open.retain_mut(|cursor| cursor.rebind(model));
    }

    /// Returns a page of a list, and the child rows that did not fit on it.
    fn page(
        &mut self,
        call: &Call<'_>,
        (locator, list): (RecordId, &List),
        start: usize,
    ) -> (String, Vec<LeftOver>) {
        let total = list.rows.len();
        let end = total.min(start + list.page_rows);
        let done = end == total;
        let mut out = String::with_capacity((end - start) * 256 + 128);
        out.push_str(&format!(r#"{{"totalSize":{total},"done":{done}"#));
        let version = &call.version;
        if !done {
            out.push_str(&format!(
                r#","nextRecordsUrl":"/services/data/{version}/query/{locator}-{end}""#
            ));
        }
        out.push_str(r#","records":["#);
        let mut writer = Writer {
            children_max: CHILDREN_PER_PAGE,
            next_locator: self.cursors.locators + 1,
            ..Writer::whole(self.view(call), version)
        };
        let table = self.model.table(list.object);
        let mut first = true;
        for row in &list.rows[start..end] {
            // The record may have left the recycle bin since the query ran.
            if table.row(*row).is_none() {
                continue;
            }
            if !std::mem::take(&mut first) {
                out.push(',');
            }
            writer.push_record(&mut out, (list.object, *row), &list.nodes);
        }
        out.push_str("]}");
        let left_over = writer.left_over;
        self.cursors.locators += u32::try_from(left_over.len()).unwrap_or(0);
        (out, left_over)
    }
}

/// Returns how many rows fit on a page. A client can ask for a page size but not rely on it: wide
/// rows make smaller pages.
fn fitting_rows(model: &Model, object: ObjectNo, nodes: &[SelectNode]) -> usize {
    let width = |node: &SelectNode| match node {
        SelectNode::Field(no) => model.field(object, *no).length as usize,
        SelectNode::Parent { .. }
        | SelectNode::Shown { .. }
        | SelectNode::TypeOf { .. }
        | SelectNode::Children { .. } => 0,
    };
    let width: usize = nodes.iter().map(width).sum();
    (PAGE_CHARS_MAX / width.max(1)).clamp(1, PAGE_MAX)
}

/// Parses `batchSize=500`.
fn page_size(options: Option<&str>) -> usize {
    let asked = options
        .and_then(|options| {
            options
                .split(',')
                .find_map(|o| o.trim().strip_prefix("batchSize="))
        })
        .and_then(|size| size.trim().parse::<usize>().ok());
    asked.unwrap_or(PAGE_MAX).clamp(PAGE_MIN, PAGE_MAX)
}

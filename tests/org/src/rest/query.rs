//! Queries over REST: pages and the locators that lead to the next one.

use std::collections::VecDeque;

use super::Call;
use super::message::Response;
use crate::Org;
use crate::model::error::SfError;
use crate::model::id::RecordId;
use crate::model::schema::ObjectNo;
use crate::model::table::RowNo;
use crate::soql::{self, SelectNode, push_record};
use crate::unconfirmed::QUERY_LOCATOR_MS;

/// Page sizes: what the server gives at most, and what a client may ask for at least.
const PAGE_MAX: usize = 2_000;
const PAGE_MIN: usize = 200;

/// Open queries of one user; one more closes the oldest.
const CURSORS_MAX: usize = 10;

/// Queries with pages that were not fetched yet.
#[derive(Debug, Default)]
pub(crate) struct Cursors {
    open: VecDeque<Cursor>,
    opened: u32,
}

#[derive(Clone, Debug)]
struct Cursor {
    id: RecordId,
    user: RecordId,
    used_ms: i64,
    page: Pages,
}

#[derive(Clone, Debug)]
struct Pages {
    object: ObjectNo,
    nodes: Vec<SelectNode>,
    rows: Vec<RowNo>,
    size: usize,
}

impl Cursors {
    fn open(&mut self, user: RecordId, now_ms: i64, page: Pages) -> RecordId {
        self.opened += 1;
        let id = RecordId::numbered(*b"01g", self.opened);
        self.open.push_back(Cursor {
            id,
            user,
            used_ms: now_ms,
            page,
        });
        if self
            .open
            .iter()
            .filter(|cursor| cursor.user == user)
            .count()
            > CURSORS_MAX
            && let Some(oldest) = self.open.iter().position(|cursor| cursor.user == user)
        {
            self.open.remove(oldest);
        }
        id
    }

    fn find(&mut self, id: RecordId, user: RecordId, now_ms: i64) -> Option<&Pages> {
        self.open
            .retain(|cursor| cursor.used_ms + QUERY_LOCATOR_MS >= now_ms);
        let cursor = self
            .open
            .iter_mut()
            .find(|c| c.id == id && c.user == user)?;
        cursor.used_ms = now_ms;
        Some(&cursor.page)
    }
}

impl Org {
    /// Answers `/query` and `/queryAll`.
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
        let plan = soql::bind(&self.model, &query).map_err(|e| soql::explained(&text, e))?;
        let rows = soql::rows(&self.model, &plan, with_deleted);
        if let Some(aggregation) = &plan.aggregation {
            let groups = soql::groups(&self.model, &plan, aggregation, &rows)?;
            let (count, groups) = (groups.len(), groups.join(","));
            let body = format!(r#"{{"totalSize":{count},"done":true,"records":[{groups}]}}"#);
            return Ok(Response::json(200, body));
        }
        let Some(nodes) = plan.select else {
            let count = rows.len();
            let body = format!(r#"{{"totalSize":{count},"done":true,"records":[]}}"#);
            return Ok(Response::json(200, body));
        };
        let size = page_size(call.request.get("sforce-query-options"));
        let pages = Pages {
            object: plan.object,
            nodes,
            rows,
            size,
        };
        if pages.rows.len() <= size {
            return Ok(Response::json(200, self.page(call, &pages, 0, None)));
        }
        let now_ms = self.now_ms();
        let locator = self.cursors.open(call.actor.user, now_ms, pages.clone());
        Ok(Response::json(
            200,
            self.page(call, &pages, 0, Some(locator)),
        ))
    }

    /// Answers `/query/<locator>`.
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
        let pages = self
            .cursors
            .find(id, call.actor.user, now_ms)
            .ok_or_else(invalid)?;
        if start >= pages.rows.len() {
            return Err(invalid());
        }
        let pages = pages.clone();
        Ok(Response::json(
            200,
            self.page(call, &pages, start, Some(id)),
        ))
    }

    fn page(
        &self,
        call: &Call<'_>,
        pages: &Pages,
        start: usize,
        locator: Option<RecordId>,
    ) -> String {
        let total = pages.rows.len();
        let end = total.min(start + pages.size);
        let done = end == total;
        let mut out = String::with_capacity((end - start) * 256 + 128);
        out.push_str(&format!(r#"{{"totalSize":{total},"done":{done}"#));
        if let Some(id) = locator.filter(|_| !done) {
            let version = &call.version;
            out.push_str(&format!(
                r#","nextRecordsUrl":"/services/data/{version}/query/{id}-{end}""#
            ));
        }
        out.push_str(r#","records":["#);
        let table = self.model.table(pages.object);
        let mut first = true;
        for row in &pages.rows[start..end] {
            // Time may have emptied the recycle bin since the query was made.
            if table.row(*row).is_none() {
                continue;
            }
            if !std::mem::take(&mut first) {
                out.push(',');
            }
            let at = (pages.object, *row);
            push_record(&mut out, &self.model, &call.version, at, &pages.nodes);
        }
        out.push_str("]}");
        out
    }
}

/// Reads `batchSize=500`.
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

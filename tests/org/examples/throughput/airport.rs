//! The records that are written: airports as accounts, in JSON and CSV.

/// Prefix of the external ids of the records that bulk jobs update again.
pub(crate) const MANY: &str = "m";

/// The CSV header row.
pub(crate) const CSV_HEADER: &str = "External_Id__c,Name,Type,Phone,BillingCity,BillingState,\
BillingCountry,BillingLatitude,BillingLongitude,Elevation__c,IATA__c,Timezone__c\n";

/// Returns the members of airport `n` without its external id.
pub(crate) fn members(n: usize, pass: &str) -> String {
    format!(
        r#""Name":"Airport {n} {pass}","Type":"Customer","Phone":"+1 555 {n}","BillingCity":"Leoti","BillingState":"Kansas","BillingCountry":"US","BillingLatitude":38.704022,"BillingLongitude":-101.473911,"Elevation__c":{n},"IATA__c":"LEO","Timezone__c":"America/Chicago""#
    )
}

/// Returns the body of a collections call with airports from `first` on.
pub(crate) fn collection(first: usize, records: usize, (pass, prefix): (&str, &str)) -> String {
    let record = |n: usize| {
        let members = members(n, pass);
        format!(
            r#"{{"attributes":{{"type":"Account"}},"External_Id__c":"{prefix}-{n}",{members}}}"#
        )
    };
    let records: Vec<String> = (first..first + records).map(record).collect();
    format!(r#"{{"allOrNone":false,"records":[{}]}}"#, records.join(","))
}

/// Returns airport `n` as a row of the CSV.
pub(crate) fn csv_row(n: usize, (pass, prefix): (&str, &str)) -> String {
    format!(
        "{prefix}-{n},Airport {n} {pass},Customer,+1 555 {n},Leoti,Kansas,US,38.704022,\
         -101.473911,{n},LEO,America/Chicago\n"
    )
}

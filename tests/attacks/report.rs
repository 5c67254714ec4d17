//! The table, as it stands in `docs/attacks.md`.

use std::collections::BTreeMap;

use crate::stage::Outcome;

/// A row that no request through the backends makes.
pub struct Extra {
    pub class: &'static str,
    pub row: String,
    pub wrong: Vec<String>,
}

/// Of each class, so many findings are shown.
const SHOWN: usize = 12;

/// Prints the table and what is wrong, and with `UPDATE_DOCS` writes it to the page. True if nothing is wrong.
pub fn report(outcomes: &BTreeMap<String, Outcome>, order: &[String], extras: &[Extra], whole: bool) -> bool {
    let mut table = String::from(
        "| class | cases | that get past a naive gate | requests (cases × backends × protocols) | passed on | let through |\n|---|---|---|---|---|---|\n",
    );
    let mut wrong: Vec<String> = Vec::new();
    for class in order {
        let outcome = &outcomes[class];
        table += &format!(
            "| {class} | {} | {} | {} | {} | {} |\n",
            outcome.cases,
            outcome.biting,
            outcome.requests,
            outcome.passed_on,
            outcome.wrong.len()
        );
        wrong.extend(outcome.wrong.iter().take(SHOWN).map(|what| format!("{class}: {what}")));
        if outcome.biting == 0 && class != "honest requests" {
            wrong.push(format!("{class}: no case gets past the naive gate either, so this class tests nothing"));
        }
    }
    for extra in extras {
        table += &format!("| {} | {} |\n", extra.class, extra.row);
        wrong.extend(extra.wrong.iter().map(|what| format!("{}: {what}", extra.class)));
    }
    println!("\n{table}");
    if whole && std::env::var_os("UPDATE_DOCS").is_some() {
        update(&table);
    }
    wrong.iter().for_each(|what| println!("- {what}"));
    println!("{}", if wrong.is_empty() { "Nothing got through." } else { "Something got through." });
    wrong.is_empty()
}

fn update(table: &str) {
    const BEGIN: &str = "<!-- table: begin -->\n";
    const END: &str = "<!-- table: end -->";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/attacks.md");
    let page = std::fs::read_to_string(path).expect("the page is there");
    let (before, rest) = page.split_once(BEGIN).expect("the table begins");
    let (_, after) = rest.split_once(END).expect("the table ends");
    std::fs::write(path, format!("{before}{BEGIN}\n{table}\n{END}{after}")).expect("the page is written");
}

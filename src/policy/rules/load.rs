//! Policy files: from text to rules, or to all the mistakes in them.
//!
//! Invariant: rules are returned only if there is no mistake in any file.

use std::collections::HashMap;

use toml::de::DeTable;

use crate::mistake::Mistake;
use crate::policy::rules::compile;
use crate::policy::rules::rule::Rule;
use crate::policy::rules::settings::PolicySettings;
use crate::policy::rules::table::{File, Table};

/// Reads all files. Mistakes come in the order of files and lines.
pub(in crate::policy) fn load(
    files: &[(String, String)],
    settings: &PolicySettings,
) -> Result<Vec<Rule>, Vec<Mistake>> {
    let mut rules = Vec::new();
    let mut mistakes = Vec::new();
    let mut known: HashMap<String, String> = HashMap::new();
    for (name, text) in files {
        let mut file = File::new(name, text);
        rules.extend(read(&mut file, text, settings, &mut known));
        file.mistakes.sort_by_key(|mistake| mistake.line);
        mistakes.append(&mut file.mistakes);
    }
    if mistakes.is_empty() {
        Ok(rules)
    } else {
        Err(mistakes)
    }
}

fn read<'t>(
    file: &mut File<'t>,
    text: &'t str,
    settings: &PolicySettings,
    known: &mut HashMap<String, String>,
) -> Vec<Rule> {
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // What can be made of a file with broken grammar would only give mistakes that are none.
        for error in errors {
            file.mistake(&error.span().unwrap_or(0..0), error.message());
        }
        return Vec::new();
    }
    let mut top = Table::new(document.into_inner(), 0..0);
    let mut rules = Vec::new();
    if let Some(entry) = top.take("rule") {
        match entry.value.get_ref().as_array() {
            Some(entries) => {
                for one in entries {
                    match one.get_ref().as_table() {
                        Some(table) => rules.extend(compile::rule(
                            file,
                            Table::new(table.clone(), one.span()),
                            settings,
                            known,
                        )),
                        None => {
                            file.mistake(&one.span(), "a rule must be a table: write `[[rule]]`")
                        }
                    }
                }
            }
            None => file.mistake(&entry.at, "rules are a list: write `[[rule]]`"),
        }
    }
    file.end(top);
    rules
}

#[cfg(test)]
mod tests;

//! JavaScript as CouchDB wants it, looked at before it is sent.
//!
//! Invariant: nothing is run; what passes is one function and nothing beside it, or a CommonJS module that
//! exports something.

use std::sync::LazyLock;

use oxc_allocator::Allocator;
use oxc_ast::ast::{Expression, Statement};
use oxc_parser::Parser;
use oxc_span::SourceType;
use regex::Regex;

/// `exports.name`, `exports['name']`, `module.exports = …`.
static EXPORTS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?:^|[^.\w]|\bmodule\.)exports\s*(\.|\[|=[^=])").ok());

/// The one function of a file, as it goes to CouchDB: comments above it stay at home, so that a changed
/// comment does not cost a new index, and so does a semicolon behind it.
pub(super) fn function(text: &str) -> Result<String, String> {
    let above: usize = text
        .split_inclusive('\n')
        .take_while(|line| is_remark(line))
        .map(str::len)
        .sum();
    let (above, source) = text.split_at_checked(above).unwrap_or(("", text));
    let source = source.trim().trim_end_matches(';');
    if source.is_empty() {
        return Err("a function is wanted, and nothing is here".to_owned());
    }
    // The lines above are put back empty, so that a mistake is told with the line of the file.
    let lines = "\n".repeat(above.matches('\n').count());
    if is_one_function(&format!("{lines}({source}\n)"))? {
        Ok(source.to_owned())
    } else {
        Err("one function is wanted, `function (…) {…}`, and nothing beside it".to_owned())
    }
}

/// Is this text a module that exports something? The text goes to CouchDB as it is.
pub(super) fn module(text: &str) -> Result<(), String> {
    // CouchDB runs a module as the body of such a function.
    let wrapped = format!("(function (module, exports, require) {{ {text}\n}})");
    let whole = is_one_function(&wrapped)?;
    let exports = EXPORTS.as_ref().is_some_and(|word| word.is_match(text));
    if whole && exports {
        Ok(())
    } else {
        Err("a module is wanted, which exports something: `exports.name = …`".to_owned())
    }
}

fn is_remark(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with("//")
}

/// Whether the text is nothing but a function in parentheses.
fn is_one_function(text: &str) -> Result<bool, String> {
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, text, SourceType::script()).parse();
    if let Some(error) = parsed.diagnostics.first() {
        let place = error.labels.first().map_or(0, |label| label.offset());
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        let before = text.as_bytes().get(..place).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        return Err(format!("line {line}: {}", error.message));
    }
    let [Statement::ExpressionStatement(statement)] = parsed.program.body.as_slice() else {
        return Ok(false);
    };
    let Expression::ParenthesizedExpression(inner) = &statement.expression else {
        return Ok(false);
    };
    Ok(matches!(
        inner.expression,
        Expression::FunctionExpression(_) | Expression::ArrowFunctionExpression(_)
    ))
}

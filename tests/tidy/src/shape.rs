//! How long is each function?

use syn::spanned::Spanned;
use syn::visit::Visit;
use syn::{Block, ImplItemFn, ItemFn, Signature, TraitItemFn};

use crate::{Source, Violation};

const FUNCTION_LINES_MAX: usize = 70;

pub(crate) fn violations(source: &Source) -> Vec<Violation> {
    let file = match syn::parse_file(&source.text) {
        Ok(file) => file,
        Err(error) => {
            let line = error.span().start().line;
            return vec![source.violation(line, format!("this is not Rust: {error}"))];
        }
    };
    let mut functions = Functions {
        source,
        too_long: Vec::new(),
    };
    functions.visit_file(&file);
    functions.too_long
}

struct Functions<'a> {
    source: &'a Source,
    too_long: Vec<Violation>,
}

impl Functions<'_> {
    fn measure(&mut self, signature: &Signature, body: &Block) {
        let first = signature.span().start().line;
        let lines = body.span().end().line + 1 - first;
        if lines > FUNCTION_LINES_MAX {
            let name = &signature.ident;
            let rule =
                format!("a function has at most {FUNCTION_LINES_MAX} lines, {name} has {lines}");
            self.too_long.push(self.source.violation(first, rule));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.measure(&function.sig, &function.block);
        syn::visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.measure(&function.sig, &function.block);
        syn::visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(body) = &function.default {
            self.measure(&function.sig, body);
        }
        syn::visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use crate::Source;

    fn rules_broken(text: &str) -> Vec<(usize, String)> {
        let source = Source {
            path: "core/src/a.rs".to_owned(),
            text: text.to_owned(),
        };
        super::violations(&source)
            .into_iter()
            .map(|found| (found.line, found.rule))
            .collect()
    }

    /// A function of this many lines, its signature and its closing brace counted.
    fn function(lines: usize) -> String {
        format!("fn long() {{\n{}}}\n", "    step();\n".repeat(lines - 2))
    }

    #[test]
    fn seventy_lines_are_allowed_and_seventy_one_are_not() {
        assert!(rules_broken(&function(70)).is_empty());
        let broken = rules_broken(&function(71));
        assert_eq!(
            broken,
            [(1, "a function has at most 70 lines, long has 71".to_owned())]
        );
    }

    #[test]
    fn methods_and_default_methods_are_measured_too() {
        let long = function(71);
        assert_eq!(rules_broken(&format!("impl A {{\n{long}}}\n"))[0].0, 2);
        assert_eq!(rules_broken(&format!("trait A {{\n{long}}}\n"))[0].0, 2);
        assert_eq!(rules_broken(&format!("mod inner {{\n{long}}}\n"))[0].0, 2);
    }

    #[test]
    fn comments_and_attributes_above_a_function_are_not_its_lines() {
        let text = format!("/// What it does.\n#[must_use]\n{}", function(70));
        assert!(rules_broken(&text).is_empty());
    }

    #[test]
    fn a_file_that_does_not_parse_says_where() {
        let broken = rules_broken("fn a() {}\nfn ) {}\n");
        assert_eq!(broken[0].0, 2);
        assert!(broken[0].1.starts_with("this is not Rust"));
    }
}

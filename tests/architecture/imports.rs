//! Which file of the crate takes names from which, and the circles among them, read from the syntax tree.
//!
//! A re-export (`pub use`) is no arrow: whoever imports by it depends on the file that defines the name.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Item, ItemMod, ItemUse, UseTree, Visibility};

use super::Source;

/// The name of a module from the crate's root down.
type Module = Vec<String>;

/// The crate as its modules see each other.
pub(crate) struct Crate {
    /// The file of each module.
    files: BTreeMap<Module, String>,
    /// Where a name comes from that a module gives on.
    given_on: BTreeMap<(Module, String), Module>,
    parsed: Vec<(Module, syn::File)>,
}

impl Crate {
    /// # Panics
    /// Where a file is no Rust.
    pub(crate) fn read(sources: &[Source]) -> Self {
        let mut files = BTreeMap::new();
        let mut parsed = Vec::new();
        for source in sources
            .iter()
            .filter(|source| !source.is_test() && source.path != "main.rs")
        {
            let module = module_of(&source.path);
            let file = syn::parse_file(&source.text).expect("the file is Rust");
            files.insert(module.clone(), source.path.clone());
            parsed.push((module, file));
        }
        let mut read = Self {
            files,
            given_on: BTreeMap::new(),
            parsed,
        };
        read.given_on = read.re_exports();
        read
    }

    fn re_exports(&self) -> BTreeMap<(Module, String), Module> {
        let mut found = BTreeMap::new();
        for (module, file) in &self.parsed {
            for item in &file.items {
                let Item::Use(item) = item else { continue };
                if matches!(item.vis, Visibility::Inherited) {
                    continue;
                }
                for (path, name) in leaves(&item.tree) {
                    if let Some(target) = self.absolute(module, &path) {
                        found.insert((module.clone(), name), target);
                    }
                }
            }
        }
        found
    }

    /// A path as it is written in a module, from the crate's root; nothing for a path of another crate.
    fn absolute(&self, module: &[String], path: &[String]) -> Option<Module> {
        let (first, rest) = path.split_first()?;
        let mut at = match &**first {
            "crate" => Vec::new(),
            "self" => module.to_vec(),
            "super" => module.split_last()?.1.to_vec(),
            child => {
                let mut at = module.to_vec();
                at.push(child.to_owned());
                self.files.contains_key(&at).then_some(at)?
            }
        };
        for step in rest {
            if step == "super" {
                at.pop()?;
            } else {
                at.push(step.clone());
            }
        }
        Some(at)
    }

    /// The file that defines what a path names.
    fn file_of(&self, path: &[String]) -> Option<&str> {
        let mut module = path;
        let mut name = None;
        while !self.files.contains_key(module) {
            let (last, above) = module.split_last()?;
            (name, module) = (Some(last), above);
        }
        if let Some(name) = name {
            let given_on = self.given_on.get(&(module.to_vec(), name.clone()));
            if let Some(target) = given_on.filter(|target| ***target != *path) {
                return self.file_of(target);
            }
        }
        self.files.get(module).map(String::as_str)
    }

    /// The files that each file takes names from.
    pub(crate) fn arrows(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut arrows = BTreeMap::new();
        for (module, file) in &self.parsed {
            let mut paths = Paths(Vec::new());
            paths.visit_file(file);
            let Some(own) = self.files.get(module).map(String::as_str) else {
                continue;
            };
            let named: BTreeSet<&str> = paths
                .0
                .iter()
                .filter_map(|path| self.absolute(module, path))
                .filter_map(|path| self.file_of(&path))
                .filter(|file| *file != own)
                .collect();
            arrows.insert(own, named);
        }
        arrows
    }

    /// The names of types that several files define, with those files.
    pub(crate) fn types_defined_twice(&self) -> BTreeMap<String, Vec<&str>> {
        let mut found: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (module, file) in &self.parsed {
            for item in &file.items {
                let (Item::Struct(syn::ItemStruct { ident, .. })
                | Item::Enum(syn::ItemEnum { ident, .. })
                | Item::Trait(syn::ItemTrait { ident, .. })
                | Item::Type(syn::ItemType { ident, .. })) = item
                else {
                    continue;
                };
                let files = found.entry(ident.to_string()).or_default();
                files.extend(self.files.get(module).map(String::as_str));
            }
        }
        found.retain(|_, files| files.len() > 1);
        found
    }
}

fn module_of(path: &str) -> Module {
    let path = path.strip_suffix(".rs").unwrap_or(path);
    let steps = path
        .split('/')
        .filter(|step| !["mod", "lib"].contains(step));
    steps.map(str::to_owned).collect()
}

/// The full path of each name that an import brings, and how it is called here.
fn leaves(tree: &UseTree) -> Vec<(Vec<String>, String)> {
    match tree {
        UseTree::Path(path) => {
            let first = path.ident.to_string();
            let mut below = leaves(&path.tree);
            for (path, name) in &mut below {
                if path.last().is_some_and(|last| last == "self") {
                    path.pop();
                    name.clone_from(&first);
                }
                path.insert(0, first.clone());
            }
            below
        }
        UseTree::Name(name) => vec![(vec![name.ident.to_string()], name.ident.to_string())],
        UseTree::Rename(name) => vec![(vec![name.ident.to_string()], name.rename.to_string())],
        UseTree::Glob(_) => vec![(vec!["*".to_owned()], "*".to_owned())],
        UseTree::Group(group) => group.items.iter().flat_map(leaves).collect(),
    }
}

/// Every path that a file names outside its tests.
struct Paths(Vec<Vec<String>>);

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        let is_test = |attribute: &syn::Attribute| {
            let syn::Meta::List(list) = &attribute.meta else {
                return false;
            };
            list.path.is_ident("cfg") && list.tokens.to_string() == "test"
        };
        if !module.attrs.iter().any(is_test) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if matches!(item.vis, Visibility::Inherited) {
            self.0
                .extend(leaves(&item.tree).into_iter().map(|(path, _)| path));
        }
    }

    /// `pub(in crate::policy)` takes no name from there.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            let steps = path.segments.iter();
            self.0
                .push(steps.map(|step| step.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, found: &'ast syn::Macro) {
        self.visit_path(&found.path);
        self.in_tokens(found.tokens.clone());
    }
}

impl Paths {
    /// What a macro is given is no syntax tree yet: its paths are names with colons between them.
    fn in_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.end(&mut path);
                    }
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.end(&mut path);
                    self.in_tokens(group.stream());
                    colons = 0;
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {
                    self.end(&mut path);
                    colons = 0;
                }
            }
        }
        self.end(&mut path);
    }

    fn end(&mut self, path: &mut Vec<String>) {
        let path = std::mem::take(path);
        if path.len() > 1 {
            self.0.push(path);
        }
    }
}

/// The sets of files that can be reached from each other.
pub(crate) fn circles<'a>(arrows: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Vec<BTreeSet<&'a str>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> = arrows
        .keys()
        .map(|from| (*from, reachable(arrows, from)))
        .collect();
    let mut found: Vec<BTreeSet<&str>> = Vec::new();
    for (from, there) in &reached {
        if !there.contains(from) || found.iter().any(|circle| circle.contains(from)) {
            continue;
        }
        let leads_back = |to: &&&str| reached.get(**to).is_some_and(|there| there.contains(from));
        let back = there.iter().filter(leads_back);
        found.push(back.copied().collect());
    }
    found
}

fn reachable<'a>(arrows: &BTreeMap<&'a str, BTreeSet<&'a str>>, from: &str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut open = vec![from];
    while let Some(at) = open.pop() {
        for to in arrows.get(at).into_iter().flatten() {
            if found.insert(*to) {
                open.push(to);
            }
        }
    }
    found
}

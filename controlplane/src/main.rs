mod catalog;
mod failure;
mod folder;
mod price;
mod tree;
fn main() {}

mod catalog;
mod failure;
mod folder;
mod place;
mod price;
mod publish;
mod screen;
mod table;
mod tree;
mod when;
fn main() {}

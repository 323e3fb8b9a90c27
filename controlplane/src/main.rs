mod catalog;
mod change;
mod failure;
mod folder;
mod follow;
mod place;
mod price;
mod publish;
mod screen;
mod table;
mod tree;
mod when;
fn main() {}

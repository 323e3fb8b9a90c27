//! Calls to rank documents.

use weir_shared::catalog::Dialect;

use super::{Kind, Naming, Task, Translation, Untranslated, judge, written};
use crate::dialect::call::Tongue;
use crate::dialect::fallen::Fallen;
use crate::dialect::rerank::{self, Form, Question};
use crate::dialect::speech::{Malformed, Unreadable};
use crate::dialect::{self, Reading};
use crate::parse::Route;

pub struct Ranking<'b> {
    question: Question<'b>,
}

/// The caller's form, when this endpoint ranks.
pub fn caller(route: &Route) -> Option<Form> {
    Form::of(route.endpoint.path)
}

pub fn translate<'b>(task: &Task<'_, 'b>, caller: Form) -> Result<Option<Translation<'b>>, Untranslated> {
    let route = match task.vendor.dialect {
        Dialect::Cohere => return Ok(None),
        Dialect::OpenAi => route_to(task),
        Dialect::Anthropic | Dialect::Gemini | Dialect::Bedrock => None,
    };
    let route = route.ok_or(Untranslated::NoSuchService("ranking of documents"))?;
    let question = rerank::read_call(caller, task.body).map_err(|Unreadable(why)| Untranslated::Unreadable(why))?;
    let fallen = Fallen { wishes: question.unmapped.clone(), hints: Vec::new() };
    let dropped = judge(fallen, task.untranslatable)?;
    let mut body = Vec::with_capacity(task.body.len() + 128);
    rerank::write_call(&question, task.vendor.rerank, &task.model.upstream, &mut body);
    Ok(Some(written(Kind::Rank(Ranking { question }), route, Tongue::Chat, body, dropped)))
}

fn route_to(task: &Task<'_, '_>) -> Option<Route> {
    let language = dialect::ALL.iter().copied().find(|language| language.dialect() == Dialect::OpenAi)?;
    Some(Route { language, endpoint: rerank::endpoint(task.vendor.rerank), model: None, id: None })
}

impl Ranking<'_> {
    pub fn document(&self, naming: Naming<'_>, body: &[u8], reading: &mut Reading) -> Result<Vec<u8>, Malformed> {
        let ranks = rerank::read_answer(&self.question, body, reading)?;
        let mut out = Vec::with_capacity(body.len() + 256);
        rerank::write_answer(&self.question, &ranks, naming.id, reading, &mut out);
        Ok(out)
    }
}

// LangChain for JavaScript, through its OpenAI and Anthropic integrations, in front of vendors of all languages.
import { ChatAnthropic } from '@langchain/anthropic'
import { HumanMessage, ToolMessage } from '@langchain/core/messages'
import { ChatOpenAI } from '@langchain/openai'
import { ABOUT, City, NAME, SCHEMA, TEXT, assert, each, key, right, same, url } from './pairs.mjs'

const openai = (model) => new ChatOpenAI({ model, apiKey: key, maxRetries: 0, configuration: { baseURL: `${url}/v1` } })
const anthropic = (model) => new ChatAnthropic({ model, apiKey: key, maxRetries: 0, maxTokens: 4000, anthropicApiUrl: url })
const tools = [{ type: 'function', function: { name: NAME, description: ABOUT, parameters: SCHEMA } }]

const every = (ask) =>
  each(async (language) => {
    for (const make of [openai, anthropic]) await ask((scenario) => make(`pair-${language}-${scenario}`))
  })

export const unary = () =>
  every(async (model) => {
    const answer = await model('text').invoke('hi')
    const { input_tokens, output_tokens, total_tokens } = answer.usage_metadata
    same([answer.text, input_tokens, output_tokens, total_tokens], [TEXT, 100, 50, 150])
  })

export const stream = () =>
  every(async (model) => {
    let whole
    for await (const chunk of await model('text').stream('hi')) whole = whole ? whole.concat(chunk) : chunk
    same(whole.text, TEXT)
    // ChatAnthropic adds the one token of Anthropic's `message_start` to the total of its `message_delta`.
    assert.ok([50, 51].includes(whole.usage_metadata.output_tokens), whole.usage_metadata.output_tokens)
  })

export const withTools = () =>
  every(async (model) => {
    const bound = model('tool').bindTools(tools)
    const answer = await bound.invoke('hi')
    same(answer.tool_calls.length, 1)
    right(answer.tool_calls[0].args)
    const results = answer.tool_calls.map((call) => new ToolMessage({ tool_call_id: call.id, content: 'sunny' }))
    assert.ok(await bound.invoke([new HumanMessage('hi'), answer, ...results]))
  })

export const structured = () =>
  each(async (language) => {
    const model = openai(`pair-${language}-json`).withStructuredOutput(City, { method: 'jsonSchema' })
    right(await model.invoke('hi'))
  })

export const errors = () =>
  every(async (model) => {
    const fails = async (scenario) => model(scenario).invoke('hi').then(() => assert.fail('no error'), (error) => error)
    same((await fails('refusing')).status, 400)
    same((await fails('limited')).status, 429)
  })

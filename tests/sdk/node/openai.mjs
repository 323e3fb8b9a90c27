// OpenAI's SDK for Node in front of vendors of all languages: chat completions and responses.
import OpenAI from 'openai'
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod'
import { ABOUT, City, NAME, SCHEMA, SENTENCE, TEXT, all, assert, each, key, raises, right, same, url } from './pairs.mjs'

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 })
const messages = [{ role: 'user', content: 'hi' }]
const tools = [{ type: 'function', function: { name: NAME, description: ABOUT, parameters: SCHEMA } }]
const flat = [{ type: 'function', name: NAME, description: ABOUT, parameters: SCHEMA, strict: false }]

export const chat = () =>
  each(async (language) => {
    const { choices, usage } = await client.chat.completions.create({ model: `pair-${language}-text`, messages })
    same([choices[0].message.content, choices[0].finish_reason], [TEXT, 'stop'])
    same([usage.prompt_tokens, usage.completion_tokens, usage.total_tokens], [100, 50, 150])
  })

export const chatStream = () =>
  each(async (language) => {
    const asked = { model: `pair-${language}-text`, messages, stream: true, stream_options: { include_usage: true } }
    const chunks = await all(await client.chat.completions.create(asked))
    same(chunks.map((chunk) => chunk.choices[0]?.delta?.content ?? '').join(''), TEXT)
    same(chunks.findLast((chunk) => chunk.choices.length).choices[0].finish_reason, 'stop')
    same(chunks.at(-1).usage.total_tokens, 150)
  })

export const chatTools = () =>
  each(async (language) => {
    const asked = { model: `pair-${language}-agent`, tools, reasoning_effort: 'low' }
    const whole = (await client.chat.completions.create({ ...asked, messages })).choices[0]
    same([whole.message.content, whole.finish_reason], [SENTENCE, 'tool_calls'])
    whole.message.tool_calls.forEach((call) => right(call.function.arguments))
    const streamed = (await client.chat.completions.stream({ ...asked, messages }).finalChatCompletion()).choices[0]
    same(streamed.message.tool_calls.map((call) => call.function.arguments), whole.message.tool_calls.map((call) => call.function.arguments))
    const results = whole.message.tool_calls.map((call) => ({ role: 'tool', tool_call_id: call.id, content: 'sunny' }))
    const next = await client.chat.completions.create({ ...asked, messages: [...messages, whole.message, ...results] })
    assert.ok(next.choices.length)
  })

export const chatStructured = () =>
  each(async (language) => {
    const asked = { model: `pair-${language}-json`, messages, response_format: zodResponseFormat(City, 'city') }
    const { choices } = await client.chat.completions.parse(asked)
    right(choices[0].message.parsed)
  })

export const chatErrors = () =>
  each(async (language) => {
    const ask = async (name, more) =>
      all(await client.chat.completions.create({ model: `pair-${language}-${name}`, messages, stream: true, ...more }))
    await raises(OpenAI.BadRequestError, () => ask('refusing'))
    same((await raises(OpenAI.RateLimitError, () => ask('limited'))).headers.get('retry-after'), '1')
    await raises(OpenAI.APIError, () => ask('broken'))
    if (language !== 'chat') {
      const error = await raises(OpenAI.BadRequestError, () => ask('text', { frobnicate: 1 }))
      assert.match(error.message, /frobnicate/)
    }
  })

export const errorsOfOurOwn = async () => {
  const stranger = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'nobody', maxRetries: 0 })
  const ask = (client, model) => client.chat.completions.create({ model, messages })
  same((await raises(OpenAI.AuthenticationError, () => ask(stranger, 'openai-good'))).code, 'invalid_api_key')
  same((await raises(OpenAI.NotFoundError, () => ask(client, 'nobody'))).code, 'model_not_found')
}

export const responses = () =>
  each(async (language) => {
    const asked = { model: `pair-${language}-text`, input: 'hi', store: false }
    const { output_text, status, usage } = await client.responses.create(asked)
    same([output_text, status, usage.input_tokens, usage.output_tokens], [TEXT, 'completed', 100, 50])
    const stream = client.responses.stream(asked)
    const kinds = (await all(stream)).map((event) => event.type)
    const final = await stream.finalResponse()
    same([kinds[0], kinds.at(-1), final.output_text], ['response.created', 'response.completed', TEXT])
    same(final.usage.total_tokens, 150)
  })

export const responsesTools = () =>
  each(async (language) => {
    const asked = { model: `pair-${language}-agent`, tools: flat, store: false, reasoning: { effort: 'low', summary: 'auto' }, include: ['reasoning.encrypted_content'] }
    const { output } = await client.responses.create({ ...asked, input: messages })
    const calls = output.filter((item) => item.type === 'function_call')
    same(calls.length, 2)
    calls.forEach((call) => right(call.arguments))
    const results = calls.map((call) => ({ type: 'function_call_output', call_id: call.call_id, output: 'sunny' }))
    const next = await client.responses.create({ ...asked, input: [...messages, ...output, ...results] })
    assert.ok(next.output.length)
  })

export const responsesStructured = () =>
  each(async (language) => {
    const asked = { model: `pair-${language}-json`, input: 'hi', store: false, text: { format: zodTextFormat(City, 'city') } }
    right((await client.responses.parse(asked)).output_parsed)
  })

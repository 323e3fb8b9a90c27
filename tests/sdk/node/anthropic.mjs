// Anthropic's SDK for Node in front of vendors of all languages.
import Anthropic from '@anthropic-ai/sdk'
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod'
import { ABOUT, City, NAME, SCHEMA, SENTENCE, TEXT, assert, each, key, raises, right, same, url } from './pairs.mjs'

const client = new Anthropic({ baseURL: url, apiKey: key, maxRetries: 0 })
const messages = [{ role: 'user', content: 'hi' }]
const tools = [{ name: NAME, description: ABOUT, input_schema: SCHEMA }]

export const unary = () =>
  each(async (language) => {
    const asked = { model: `pair-${language}-text`, max_tokens: 4000, messages, system: 'Be kind.' }
    const { content, stop_reason, usage } = await client.messages.create(asked)
    same([content[0].text, stop_reason, usage.input_tokens, usage.output_tokens], [TEXT, 'end_turn', 100, 50])
  })

export const stream = () =>
  each(async (language) => {
    const stream = client.messages.stream({ model: `pair-${language}-text`, max_tokens: 4000, messages })
    let text = ''
    stream.on('text', (delta) => (text += delta))
    const { content, stop_reason, usage } = await stream.finalMessage()
    same([text, content[0].text, stop_reason, usage.output_tokens], [TEXT, TEXT, 'end_turn', 50])
  })

export const withTools = () =>
  each(async (language) => {
    const asked = { model: `pair-${language}-agent`, max_tokens: 4000, tools, thinking: { type: 'enabled', budget_tokens: 1024 } }
    const whole = await client.messages.create({ ...asked, messages })
    const streamed = await client.messages.stream({ ...asked, messages }).finalMessage()
    for (const { content, stop_reason } of [whole, streamed]) {
      const calls = content.filter((block) => block.type === 'tool_use')
      same([content.find((block) => block.type === 'text').text, calls.length, stop_reason], [SENTENCE, 2, 'tool_use'])
      calls.forEach((call) => right(call.input))
      const results = calls.map((call) => ({ type: 'tool_result', tool_use_id: call.id, content: 'sunny' }))
      const next = [...messages, { role: 'assistant', content }, { role: 'user', content: results }]
      assert.ok((await client.messages.create({ ...asked, messages: next })).content.length)
    }
  })

export const structured = () =>
  each(async (language) => {
    const asked = { model: `pair-${language}-json`, max_tokens: 4000, messages, output_config: { format: zodOutputFormat(City) } }
    right((await client.messages.parse(asked)).parsed_output)
  })

export const errors = () =>
  each(async (language) => {
    const ask = (name) => client.messages.stream({ model: `pair-${language}-${name}`, max_tokens: 99, messages }).finalMessage()
    await raises(Anthropic.BadRequestError, () => ask('refusing'))
    same((await raises(Anthropic.RateLimitError, () => ask('limited'))).headers.get('retry-after'), '1')
    await raises(Anthropic.APIError, () => ask('broken'))
  })

export const errorsOfOurOwn = async () => {
  const stranger = new Anthropic({ baseURL: url, apiKey: 'nobody', maxRetries: 0 })
  const ask = (client, model) => client.messages.create({ model, max_tokens: 9, messages })
  await raises(Anthropic.AuthenticationError, () => ask(stranger, 'anthropic-good'))
  await raises(Anthropic.NotFoundError, () => ask(client, 'nobody'))
}

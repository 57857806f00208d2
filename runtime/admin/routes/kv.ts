// /v1/kv: the stores of this node. If-Match and If-None-Match are the conditions of a write. operations.md §3.

import type { ServerResponse } from 'node:http'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { MoonmeshError } from '../../base/errors.ts'
import { jsonOf } from '../../base/plain.ts'
import { flagOf } from '../flag.ts'
import type { AdminNode, StoreFollow, StoreItem } from '../shapes.ts'

const PAGE_DEFAULT = 100
const PAGE_MAX = 1000
/** Above what a value may have: the store says what is too much. */
const BODY_BYTES_MAX = 16 * 1024 * 1024

interface OfStore {
  Params: { store: string }
}

interface OfKey {
  Params: { store: string; key: string }
}

export function kvRoutes(app: FastifyInstance, { stores }: AdminNode): void {
  app.get('/v1/kv', (_request, reply) => void sendJson(reply, stores.all()))
  app.get<
    OfStore & { Querystring: { prefix?: string; after?: string; limit?: string; watch?: string; from?: string } }
  >('/v1/kv/:store', { exposeHeadRoute: false }, async (request, reply) => {
    const { prefix = '', after = '', limit, watch, from } = request.query
    if (flagOf('watch', watch)) {
      const following = await stores.watch(request.params.store, prefix, fromOf(from))
      reply.hijack()
      return follow(following, reply.raw)
    }
    return sendJson(reply, await stores.list(request.params.store, { prefix, after, limit: limitOf(limit) }))
  })
  app.get<OfKey>('/v1/kv/:store/:key', async ({ params }, reply) => {
    const item = await stores.get(params.store, params.key)
    if (item === undefined) throw new MoonmeshError('NotFound', 'key not found', { retryable: false })
    return sendJson(reply, item)
  })
  app.put<OfKey & { Querystring: { ttl?: string } }>(
    '/v1/kv/:store/:key',
    { bodyLimit: BODY_BYTES_MAX },
    async (request, reply) => {
      const { params, query, body } = request
      const options = { ttlMs: ttlMsOf(query.ttl), onlyIfAbsent: isIfAbsent(request), ...ifVersionOf(request) }
      if (options.onlyIfAbsent && 'ifVersion' in options) throw invalid('If-Match and If-None-Match exclude each other')
      const item: StoreItem = await stores.put(params.store, params.key, body, options)
      return sendJson(reply, item)
    },
  )
  app.delete<OfKey>('/v1/kv/:store/:key', async (request) => {
    const { store, key } = request.params
    return { deleted: await stores.delete(store, key, ifVersionOf(request)) }
  })
}

/** One event a line, until the other end has enough of it. */
async function follow(following: StoreFollow, response: ServerResponse): Promise<void> {
  response.on('close', () => following.close())
  response.writeHead(200, { 'content-type': 'application/x-ndjson; charset=utf-8', 'cache-control': 'no-store' })
  response.flushHeaders()
  try {
    for (let events = await following.next(); events !== undefined; events = await following.next()) {
      const text = events.map((event) => `${jsonOf(event)}\n`).join('')
      // Who does not read is not told more: the store keeps the place.
      if (!response.write(text) && !response.destroyed) {
        await new Promise<void>((resolve) => {
          response.once('drain', resolve)
          response.once('close', resolve)
        })
      }
    }
    response.end()
  } catch {
    response.destroy()
  } finally {
    following.close()
  }
}

function sendJson(reply: { type(type: string): { send(text: string): unknown } }, body: unknown): unknown {
  return reply.type('application/json; charset=utf-8').send(jsonOf(body))
}

function invalid(text: string): MoonmeshError {
  return new MoonmeshError('Invalid', text, { retryable: false })
}

function limitOf(given: string | undefined): number {
  if (given === undefined || given === '0') return PAGE_DEFAULT
  if (!/^\d{1,9}$/.test(given)) throw invalid('limit must be a non-negative integer')
  return Math.min(Number(given), PAGE_MAX)
}

function fromOf(given: string | undefined): { from?: string } {
  if (given === undefined) return {}
  if (!/^[1-9]\d{0,15}$/.test(given)) throw invalid('from takes the version of an entry')
  return { from: given }
}

/** In seconds, fractions allowed. */
function ttlMsOf(given: string | undefined): number {
  const seconds = given === undefined ? 0 : Number(given === '' ? Number.NaN : given)
  if (!Number.isFinite(seconds) || seconds < 0) throw invalid('ttl must be a non-negative number')
  return seconds * 1000
}

function ifVersionOf({ headers }: FastifyRequest): { ifVersion?: string } {
  const given = headers['if-match']
  if (given === undefined) return {}
  const [, version] = /^"?0*([1-9]\d{0,19})"?$/.exec(given) ?? []
  if (version === undefined) throw invalid('If-Match takes the version of an entry')
  return { ifVersion: version }
}

function isIfAbsent({ headers }: FastifyRequest): boolean {
  const given = headers['if-none-match']
  if (given !== undefined && given !== '*') throw invalid('If-None-Match takes *')
  return given !== undefined
}

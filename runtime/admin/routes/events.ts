// GET /v1/events?types=: what happens on this node, as server-sent events. What was before is not told: read the state, then listen.

import type { FastifyInstance } from 'fastify'
import { MoonmeshError } from '../../base/errors.ts'
import { jsonOf } from '../../base/plain.ts'
import { NODE_EVENT_TYPES, type NodeEventType } from '../../node-events.ts'
import { Outflow, STREAMS_MAX } from '../outflow.ts'
import type { AdminNode } from '../shapes.ts'

/** A comment that often: whoever stands in between does not take the connection for dead. */
const BEAT_MS = 15_000
/** How soon a browser comes back. */
const RETRY_MS = 2_000

export function eventsRoute(app: FastifyInstance, node: AdminNode): void {
  let streamCount = 0
  app.get<{ Querystring: { types?: string } }>('/v1/events', { exposeHeadRoute: false }, (request, reply) => {
    const types = typesOf(request.query.types)
    if (streamCount >= STREAMS_MAX)
      throw new MoonmeshError('LimitExceeded', `${STREAMS_MAX} streams of events are open`)
    reply.hijack()
    const response = reply.raw
    let number = 0
    const frame = (event: string, data: unknown): string =>
      `id: ${++number}\nevent: ${event}\ndata: ${jsonOf(data)}\n\n`
    const out = new Outflow(response, {
      contentType: 'text/event-stream; charset=utf-8',
      missed: (count) => frame('missed', { count }),
    })
    streamCount++
    out.push(`retry: ${RETRY_MS}\n: node ${node.name}\n\n`)
    const end = node.watch(types, ({ type, kind, subject, timeMs, data }) =>
      out.push(frame(type, { kind, subject, time_ms: Math.round(timeMs), data })),
    )
    const beat = setInterval(() => out.push(': beat\n\n'), BEAT_MS)
    beat.unref()
    response.once('close', () => {
      streamCount--
      clearInterval(beat)
      end()
    })
  })
}

function typesOf(given: string | undefined): ReadonlySet<NodeEventType> {
  if (given === undefined || given === '') return new Set(NODE_EVENT_TYPES)
  const types = given.split(',')
  const unknown = types.find((type) => !(NODE_EVENT_TYPES as readonly string[]).includes(type))
  if (unknown !== undefined) {
    throw new MoonmeshError(
      'Invalid',
      `there are no events ${JSON.stringify(unknown)}; types: ${NODE_EVENT_TYPES.join(', ')}`,
    )
  }
  return new Set(types as NodeEventType[])
}

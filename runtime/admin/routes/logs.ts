// GET /v1/logs?level=&entry=&pid=&limit=&follow=: the last lines of the node's log; with `follow` those to come as well, one JSON object a line.

import type { FastifyInstance } from 'fastify'
import { MoonmeshError } from '../../base/errors.ts'
import { jsonOf } from '../../base/plain.ts'
import { compactPid, LOG_LEVELS, type LogLevel, type LogLine, logRank, logRecord } from '../../log.ts'
import { flagOf } from '../flag.ts'
import { Outflow, STREAMS_MAX } from '../outflow.ts'
import type { AdminNode } from '../shapes.ts'

const LIMIT_DEFAULT = 100

interface Query {
  level?: string
  entry?: string
  pid?: string
  limit?: string
  follow?: string
}

export function logsRoute(app: FastifyInstance, { log }: AdminNode): void {
  let streamCount = 0
  app.get<{ Querystring: Query }>(
    '/v1/logs',
    { exposeHeadRoute: false, config: { isPrivate: true } },
    (request, reply) => {
      const { query } = request
      const isWanted = filterOf(query)
      const limit = limitOf(query.limit)
      const last = limit === 0 ? [] : log.recent().filter(isWanted).slice(-limit)
      if (!flagOf('follow', query.follow)) return reply.send(last.map(logRecord))
      if (streamCount >= STREAMS_MAX) throw new MoonmeshError('LimitExceeded', `${STREAMS_MAX} readers follow the log`)
      reply.hijack()
      const response = reply.raw
      const lineOf = (record: unknown): string => `${jsonOf(record)}\n`
      const out = new Outflow(response, {
        contentType: 'application/x-ndjson; charset=utf-8',
        missed: (count) =>
          lineOf({ level: 'warn', time: Date.now(), missed: count, msg: `${count} lines were left out` }),
      })
      streamCount++
      const write = (line: LogLine): void => out.push(lineOf(logRecord(line)))
      // Between these two nothing is logged: no line is missing, none comes twice.
      for (const line of last) write(line)
      const end = log.subscribe((line) => {
        if (isWanted(line)) write(line)
      })
      response.once('close', () => {
        streamCount--
        end()
      })
      return undefined
    },
  )
}

function filterOf({ level, entry, pid }: Query): (line: LogLine) => boolean {
  if (level !== undefined && !(LOG_LEVELS as readonly string[]).includes(level)) {
    throw new MoonmeshError('Invalid', `there is no level ${JSON.stringify(level)}; levels: ${LOG_LEVELS.join(', ')}`)
  }
  const rank = level === undefined ? 0 : logRank(level as LogLevel)
  return ({ level: of, fields }) =>
    logRank(of) >= rank &&
    (entry === undefined || fields['entry'] === entry) &&
    (pid === undefined ||
      fields['pid'] === pid ||
      (typeof fields['pid'] === 'string' && compactPid(fields['pid']) === pid))
}

function limitOf(given: string | undefined): number {
  if (given === undefined) return LIMIT_DEFAULT
  if (!/^\d{1,6}$/.test(given)) throw new MoonmeshError('Invalid', 'limit must be a number of lines')
  return Number(given)
}

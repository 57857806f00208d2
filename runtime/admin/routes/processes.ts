// GET /v1/processes?host=&top=: the processes of this node; with `top` as many as that, those with the most unread messages.

import type { FastifyInstance } from 'fastify'
import { MoonmeshError } from '../../base/errors.ts'
import type { ProcessInfo } from '../../process/port.ts'
import { notRunning } from '../not-running.ts'
import { type AdminNode, answerOf, type ProcessRow, processRow } from '../shapes.ts'

export function processesRoute(app: FastifyInstance, node: AdminNode): void {
  app.get<{ Querystring: { host?: string; top?: string } }>('/v1/processes', async (request): Promise<ProcessRow[]> => {
    const { host, top } = request.query
    const countMax = topOf(top)
    // Whoever looks again and again takes the memory as it was counted last.
    const processes = await answerOf(node.processes({ countsMemory: countMax === undefined }))
    const chosen = processes.filter((info) => host === undefined || info.host === host)
    if (chosen.length === 0 && host !== undefined) await checkHost(node, host)
    if (countMax === undefined) return chosen.map(processRow)
    return chosen.sort(byMailbox).slice(0, countMax).map(processRow)
  })
}

/** @throws MoonmeshError `NotFound`: an empty answer would say that the host is idle */
async function checkHost(node: AdminNode, host: string): Promise<void> {
  const hosts = new Set((await answerOf(node.figures())).map((each) => each.host))
  if (!hosts.has(host)) throw notRunning('host', host, hosts)
}

const byMailbox = (a: ProcessInfo, b: ProcessInfo): number => b.mailbox - a.mailbox || b.reductions - a.reductions

function topOf(given: string | undefined): number | undefined {
  if (given === undefined) return undefined
  if (!/^[1-9]\d{0,5}$/.test(given))
    throw new MoonmeshError('Invalid', 'top takes a number from 1', { retryable: false })
  return Number(given)
}

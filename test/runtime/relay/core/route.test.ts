import { expect, test } from 'vitest'
import { PidMaker } from '../../../../runtime/base/pid.ts'
import { routeOf } from '../../../../runtime/relay/core/route.ts'

const hosts = {
  knowsHost: (id: string) => id.startsWith('a:'),
  hostOfSlot: (slot: number) => (slot === 3 ? 'a:up' : undefined),
}
const self = { node: undefined, epoch: 77 }
const pid = (parts: { node?: string; host: string; epoch?: number; slot?: number }): string =>
  new PidMaker({ epoch: 77, slot: 3, generation: 0, ...parts }).next()
const functionPid = (slot: number): string =>
  new PidMaker({ epoch: 77, host: 'a:up', slot, generation: 0 }).nextForFunction('app:resize')

test.each([
  ['a process of a running host', pid({ host: 'a:up' }), { kind: 'here', host: 'a:up', slot: 3 }],
  ['a host that is not running', pid({ host: 'a:down' }), { kind: 'gone', why: 'noproc' }],
  ['a worker that is gone', pid({ host: 'a:up', slot: 4 }), { kind: 'gone', why: 'noproc' }],
  ['an earlier run of the node', pid({ host: 'a:up', epoch: 76 }), { kind: 'gone', why: 'stale_epoch' }],
  ['a host nobody knows', pid({ host: 'b:x' }), { kind: 'unknown-host', host: 'b:x' }],
  ['another node', pid({ node: 'n2', host: 'a:up' }), { kind: 'unknown-host', host: 'a:up' }],
  ["a function's run", functionPid(3), { kind: 'here', host: 'a:up', slot: 3 }],
  ["a function's run on a worker that is gone", functionPid(4), { kind: 'gone', why: 'noproc' }],
  ['no PID at all', 'name', { kind: 'gone', why: 'noproc' }],
  ['a uniq of another form', '{a:up|xyz}', { kind: 'gone', why: 'noproc' }],
])('%s', (_what, text, route) => expect(routeOf(text, self, hosts)).toEqual(route))

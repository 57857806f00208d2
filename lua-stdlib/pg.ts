// Module `pg`: named groups of processes, across the nodes of a cluster. lua-libraries.md §1. Who is in a group is known at the node; here
// are the rules of the arguments, and the subscriptions of a process.

import type { TableValue, Value } from '../runtime/base/value.ts'
import {
  type Call,
  CannotSave,
  type Engine,
  HostObject,
  type LuaTable,
  type LuaValue,
  type ObjectSaving,
  type Returns,
} from '../runtime/lua/engine.ts'
import type { LibraryModule, ScriptProcess } from '../runtime/services.ts'
import { objectArg, processOf, stringArg } from './support/args.ts'
import { blocking } from './support/blocking.ts'
import { errorObject, fail, failWith, TRUE_NIL } from './support/fail.ts'
import { Feed } from './support/feed.ts'
import { isAllowed, refusal, refusalText } from './support/permit.ts'
import { damaged } from './support/saving.ts'
import { wait, waitAlone } from './support/wait.ts'

/** Events that are reported as read in one go. */
const REPORT_EVERY = 64
const OVERFLOW = 'overflow'

class InstanceObject extends HostObject {
  readonly id: string
  /** Events that the channel of a subscription holds. */
  readonly capacity: number
  readonly subscriptions = new Set<SubscriptionObject>()
  isReleased = false
  constructor(id: string, capacity: number) {
    super()
    this.id = id
    this.capacity = capacity
  }
  override get className(): string {
    return 'pg.Instance'
  }
}

/** Groups are found by their id wherever the process goes on, which joins again; what it has subscribed to is held by the node. */
const instanceSaving: ObjectSaving<InstanceObject> = {
  save({ id, capacity, isReleased, subscriptions }) {
    if (subscriptions.size > 0) return new CannotSave('process groups with a subscription')
    return { data: [id, capacity, isReleased], values: [] }
  },
  restore([id, capacity, isReleased]) {
    if (typeof id !== 'string' || typeof capacity !== 'number' || !Number.isSafeInteger(capacity))
      throw damaged('process groups')
    const object = new InstanceObject(id, capacity)
    object.isReleased = isReleased === true
    return object
  },
}

class SubscriptionObject extends HostObject {
  readonly feed: Feed
  /** The node's number of it; undefined before the node has answered. */
  number: number | undefined
  readonly #instance: InstanceObject
  readonly #process: ScriptProcess
  readonly #forget: () => void
  #unreported = 0
  #isClosed = false

  constructor(process: ScriptProcess, instance: InstanceObject) {
    super()
    this.#process = process
    this.#instance = instance
    const take = (values: readonly Value[]): LuaValue => this.#take(values)
    this.feed = new Feed(process, instance.capacity, take, () => this.#taken())
    this.#forget = process.onEnd(() => this.close())
    instance.subscriptions.add(this)
  }

  override get className(): string {
    return 'pg.Subscription'
  }

  close(options: { dropsUnread?: boolean } = {}): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#forget()
    this.#instance.subscriptions.delete(this)
    if (this.number !== undefined) this.#process.note('pg', 'demonitor', [this.#instance.id, this.number])
    this.feed.close(options)
  }

  #take(values: readonly Value[]): LuaValue {
    // The node has let go of it: this was the last one.
    if (values[0] === OVERFLOW) this.close()
    return eventTable(this.#process.engine, values)
  }

  #taken(): void {
    if (this.#isClosed || ++this.#unreported < REPORT_EVERY || this.number === undefined) return
    this.#process.note('pg', 'consumed', [this.#instance.id, this.number, this.#unreported])
    this.#unreported = 0
  }
}

function eventTable(engine: Engine, [kind, group, pids]: readonly Value[]): LuaTable {
  const table = engine.newTable()
  engine.set(table, 'system', 'pg')
  engine.set(table, 'kind', engine.copyIn(kind))
  engine.set(table, 'path', engine.copyIn(group))
  if (kind === OVERFLOW) return table
  const data = engine.newTable()
  engine.set(data, 'Group', engine.copyIn(group))
  engine.set(data, 'PIDs', engine.copyIn(pids))
  engine.set(table, 'data', data)
  return table
}

function open(call: Call): Returns {
  const id = stringArg(call, 1, 'open')
  if (id === '') return fail('Invalid', 'resource id is required')
  const refused = refusal(call, 'pg.open', id)
  if (refused !== undefined) return refused
  return waitAlone(call, (done) =>
    processOf(call).request('pg', 'open', [id], (answer) =>
      done(answer.ok ? [new InstanceObject(id, answer.value as number)] : failWith(answer.error)),
    ),
  )
}

const self = (call: Call, fn: string): InstanceObject => objectArg(call, 1, fn, InstanceObject, 'pg.Instance')

const RELEASED = 'pg instance is released'

function ask(
  call: Call,
  method: string,
  args: readonly Value[],
  then: (value: Value) => readonly LuaValue[] = () => TRUE_NIL,
): Returns {
  return wait(call, (done) =>
    processOf(call).request('pg', method, args, (answer) =>
      done(answer.ok ? then(answer.value) : failWith(answer.error)),
    ),
  )
}

// ---- joining and leaving

/** The groups of argument 2, or what is wrong with them. */
function groupsArg(call: Call): readonly string[] | { problem: string } {
  const { engine } = call
  const given = call.arg(2)
  const groups: string[] = []
  if (typeof given === 'string') groups.push(given)
  else if (call.type(2) === 'table') {
    const list = given as LuaTable
    for (let i = 1; i <= engine.length(list); i++) {
      const item = engine.get(list, i)
      if (typeof item === 'string') groups.push(item)
    }
    if (groups.length === 0) return { problem: 'groups table must not be empty' }
  } else return { problem: 'group name (string) or groups table required' }
  return groups.includes('') ? { problem: 'group name is required' } : groups
}

function change(fn: 'join' | 'leave'): (call: Call) => Returns {
  return (call) => {
    const instance = self(call, fn)
    if (instance.isReleased) return fail('Invalid', RELEASED)
    blocking(call, `pg:${fn}`)
    const groups = groupsArg(call)
    if ('problem' in groups) return fail('Invalid', groups.problem)
    for (const group of groups) {
      const refused = refusal(call, `pg.${fn}`, group)
      if (refused !== undefined) return refused
    }
    return ask(call, fn, [instance.id, ...groups])
  }
}

// ---- reading

function members(fn: 'get_members' | 'get_local_members', method: string): (call: Call) => Returns {
  return (call) => {
    const instance = self(call, fn)
    if (instance.isReleased) return fail('Invalid', RELEASED)
    const group = stringArg(call, 2, fn)
    if (group === '') return fail('Invalid', 'group name is required')
    blocking(call, `pg:${fn}`)
    const refused = refusal(call, `pg.${fn}`, group)
    return refused ?? ask(call, method, [instance.id, group], (value) => [call.engine.copyIn(value), undefined])
  }
}

function groups(fn: 'which_groups' | 'which_local_groups', method: string): (call: Call) => Returns {
  return (call) => {
    const instance = self(call, fn)
    if (instance.isReleased) return fail('Invalid', RELEASED)
    blocking(call, `pg:${fn}`)
    const refused = refusal(call, `pg.${fn}`, '')
    return refused ?? ask(call, method, [instance.id], (value) => [call.engine.copyIn(value), undefined])
  }
}

// ---- broadcasts

function broadcast(fn: 'broadcast' | 'broadcast_local'): (call: Call) => Returns {
  return (call) => {
    const instance = self(call, fn)
    if (instance.isReleased) return fail('Invalid', RELEASED)
    const group = stringArg(call, 2, fn)
    const topic = stringArg(call, 3, fn)
    if (group === '') return fail('Invalid', 'group name is required')
    if (topic === '') return fail('Invalid', 'topic is required')
    if (topic.startsWith('@')) return fail('Invalid', 'cannot send to @ topics')
    blocking(call, `pg:${fn}`)
    const refused = refusal(call, `pg.${fn}`, group)
    if (refused !== undefined) return refused
    const args: Value[] = [instance.id, group, topic]
    for (let i = 4; i <= call.count; i++) args.push(call.engine.copyOut(call.arg(i)))
    return ask(call, fn, args)
  }
}

// ---- subscriptions

/** `nil, nil, err`. */
const failThird = (values: readonly LuaValue[]): readonly LuaValue[] => [undefined, undefined, values[1]]

/** @param group undefined watches all */
function subscribe(call: Call, instance: InstanceObject, group: string | undefined, answerKey: string): Returns {
  const process = processOf(call)
  return wait(call, (done) => {
    const subscription = new SubscriptionObject(process, instance)
    process.request('pg', 'monitor', [instance.id, subscription.feed.topic, group], (answer) => {
      if (!answer.ok) {
        subscription.close()
        return done(failThird(failWith(answer.error)))
      }
      const value = answer.value as TableValue
      subscription.number = value.get('subscription') as number
      // Released while the node was asked.
      if (instance.isReleased) {
        process.note('pg', 'demonitor', [instance.id, subscription.number])
        return done(failThird(fail('Invalid', RELEASED)))
      }
      done([subscription, call.engine.copyIn(value.get(answerKey)), undefined])
    })
  })
}

function monitor(call: Call): Returns {
  const instance = self(call, 'monitor')
  if (instance.isReleased) return failThird(fail('Invalid', RELEASED))
  const group = stringArg(call, 2, 'monitor')
  if (group === '') return failThird(fail('Invalid', 'group name is required'))
  blocking(call, 'pg:monitor')
  if (!isAllowed(call, 'pg.monitor', group)) return denied('pg.monitor', group)
  return subscribe(call, instance, group, 'members')
}

function events(call: Call): Returns {
  const instance = self(call, 'events')
  if (instance.isReleased) return failThird(fail('Invalid', RELEASED))
  blocking(call, 'pg:events')
  if (!isAllowed(call, 'pg.events', '')) return denied('pg.events', '')
  return subscribe(call, instance, undefined, 'groups')
}

function denied(action: string, resource: string): readonly LuaValue[] {
  const error = errorObject('PermissionDenied', refusalText(action, resource), { retryable: false })
  return [undefined, undefined, error]
}

function release(call: Call): Returns {
  const instance = self(call, 'release')
  instance.isReleased = true
  for (const subscription of [...instance.subscriptions]) subscription.close()
  return true
}

function closeSubscription(call: Call): Returns {
  const subscription = objectArg(call, 1, 'close', SubscriptionObject, 'pg.Subscription')
  const { engine } = call
  const dropsUnread = call.type(2) === 'table' && engine.get(call.arg(2) as LuaTable, 'flush') === true
  subscription.close({ dropsUnread })
  return true
}

export const pgModule: LibraryModule = {
  name: 'pg',
  description: 'named groups of processes across nodes',
  tags: ['process', 'nondeterministic'],
  build: () => ({ open }),
  classes: [
    {
      name: 'pg.Instance',
      saving: instanceSaving,
      methods: {
        join: change('join'),
        leave: change('leave'),
        get_members: members('get_members', 'members'),
        get_local_members: members('get_local_members', 'local_members'),
        which_groups: groups('which_groups', 'groups'),
        which_local_groups: groups('which_local_groups', 'local_groups'),
        broadcast: broadcast('broadcast'),
        broadcast_local: broadcast('broadcast_local'),
        monitor,
        events,
        release,
      },
      metamethods: {
        tostring: (call) => {
          const { id, isReleased } = self(call, 'tostring')
          return `pg.Instance{${id}${isReleased ? ', released' : ''}}`
        },
      },
    },
    {
      name: 'pg.Subscription',
      saving: 'a subscription to groups',
      methods: {
        channel: (call) => objectArg(call, 1, 'channel', SubscriptionObject, 'pg.Subscription').feed.handle,
        close: closeSubscription,
      },
      metamethods: { tostring: () => 'pg.Subscription{}' },
    },
  ],
}

// Module `logger`: structured log records. lua-libraries.md §10. `require("logger")` yields an object: `log:info("text", { key = value })`.

import { ErrorValue, TableValue, type Value } from '../runtime/base/value.ts'
import { type Call, HostObject, type LuaTable, type ObjectSaving, type Returns } from '../runtime/lua/engine.ts'
import type { LibraryModule, LogLevel } from '../runtime/services.ts'
import { objectArg, processOf, raise, stringArg, tableArg, wrongType } from './support/args.ts'
import { toStored } from './support/convert.ts'
import { damaged } from './support/saving.ts'

/** The base logger, or one with fields of its own in every record. */
class LoggerObject extends HostObject {
  readonly fields: TableValue
  readonly loggerName: string
  constructor(fields: TableValue, loggerName: string) {
    super()
    this.fields = fields
    this.loggerName = loggerName
  }
  override get className(): string {
    return 'Logger'
  }
}

const loggerSaving: ObjectSaving<LoggerObject> = {
  save: ({ fields, loggerName }) => ({ data: [fields, loggerName], values: [] }),
  restore([fields, loggerName]) {
    if (!(fields instanceof TableValue) || typeof loggerName !== 'string') throw damaged('a logger')
    return new LoggerObject(fields, loggerName)
  },
}

const self = (call: Call, fn: string): LoggerObject => objectArg(call, 1, fn, LoggerObject, 'Logger')

/** Those with a string as key, in the form in which they are logged; what cannot be is told in its place. */
function fieldsArg(call: Call, index: number, fn: string): TableValue {
  const { engine } = call
  const fields = new TableValue()
  engine.each(tableArg(call, index, fn) as LuaTable, (key, value) => {
    if (typeof key !== 'string') return
    fields.keys.push(key)
    try {
      fields.values.push(withMessages(toStored(engine, value)))
    } catch (thrown) {
      fields.values.push(thrown instanceof Error ? thrown.message : String(thrown))
    }
  })
  return fields
}

/** Error objects are logged as their message. Tables of this value are nobody else's. */
function withMessages(value: Value): Value {
  if (value instanceof ErrorValue) return value.message
  if (value instanceof TableValue) {
    for (const [i, item] of value.array.entries()) value.array[i] = withMessages(item)
    for (const [i, item] of value.values.entries()) value.values[i] = withMessages(item)
  }
  return value
}

/** The later ones win. */
function merged(under: TableValue, over: TableValue): TableValue {
  if (under.keys.length === 0) return over
  const fields = new Map(under.keys.map((key, i) => [key, under.values[i]]))
  for (const [i, key] of over.keys.entries()) fields.set(key, over.values[i])
  return new TableValue([], [...fields.keys()], [...fields.values()])
}

function write(level: LogLevel): (call: Call) => Returns {
  return (call) => {
    const { fields, loggerName } = self(call, level)
    const message = call.arg(2)
    if (typeof message !== 'string') return wrongType(call, 2, level, 'string')
    const own = call.arg(3) === undefined ? new TableValue() : fieldsArg(call, 3, level)
    const all = merged(fields, own)
    const named = loggerName === '' ? all : merged(all, new TableValue([], ['logger'], [loggerName]))
    processOf(call).log(level, message, call.where(), named)
    return []
  }
}

export const loggerModule: LibraryModule = {
  name: 'logger',
  description: 'structured log records',
  tags: ['io'],
  build: () => ({}),
  value: () => new LoggerObject(new TableValue(), ''),
  classes: [
    {
      name: 'Logger',
      saving: loggerSaving,
      methods: {
        debug: write('debug'),
        info: write('info'),
        warn: write('warn'),
        error: write('error'),
        with: (call) => {
          const { fields, loggerName } = self(call, 'with')
          return new LoggerObject(merged(fields, fieldsArg(call, 2, 'with')), loggerName)
        },
        named: (call) => {
          const { fields, loggerName } = self(call, 'named')
          const name = stringArg(call, 2, 'named')
          if (name === '') raise('logger name cannot be empty')
          return new LoggerObject(fields, loggerName === '' ? name : `${loggerName}.${name}`)
        },
      },
    },
  ],
}

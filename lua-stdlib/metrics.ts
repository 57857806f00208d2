// Module `metrics`: counters, gauges and histograms of the node. lua-libraries.md §11. Recording is said and not asked: it never waits.

import { Float, TableValue } from '../runtime/base/value.ts'
import type { Call, LuaTable, Returns } from '../runtime/lua/engine.ts'
import type { LibraryModule } from '../runtime/services.ts'
import { numberArg, processOf, stringArg } from './support/args.ts'
import { TRUE_NIL } from './support/fail.ts'

/** Labels with a string as key and as value; everything else does not count. */
function labelsArg(call: Call, index: number): TableValue {
  const labels = new TableValue()
  if (call.type(index) !== 'table') return labels
  call.engine.each(call.arg(index) as LuaTable, (key, value) => {
    if (typeof key !== 'string' || typeof value !== 'string') return
    labels.keys.push(key)
    labels.values.push(value)
  })
  return labels
}

/** @param by what is recorded when the function takes no value */
function recorder(fn: string, method: string, by?: number): (call: Call) => Returns {
  return (call) => {
    const name = stringArg(call, 1, fn)
    const value = by ?? numberArg(call, 2, fn)
    const labels = labelsArg(call, by === undefined ? 3 : 2)
    processOf(call).note('metrics', method, [name, new Float(value), labels])
    return TRUE_NIL
  }
}

export const metricsModule: LibraryModule = {
  name: 'metrics',
  description: 'counters, gauges and histograms',
  tags: ['io', 'nondeterministic'],
  build: () => ({
    counter_inc: recorder('counter_inc', 'count', 1),
    counter_add: recorder('counter_add', 'count'),
    gauge_set: recorder('gauge_set', 'set'),
    gauge_inc: recorder('gauge_inc', 'change', 1),
    gauge_dec: recorder('gauge_dec', 'change', -1),
    histogram: recorder('histogram', 'observe'),
  }),
}

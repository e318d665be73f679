<?php

// Prints the results of the models of docs/gateway.md as JSON.

namespace App\Models;

use Illuminate\Database\Eloquent\Model;
use Illuminate\Support\Facades\DB;

class Appointment extends Model
{
    use HasCalcomHost;
}

class Staff extends Model
{
    use IsCalcomHost;

    protected $table = 'staff';

    public $incrementing = false;

    protected $keyType = 'string';
}

class User extends Model {}

$staff_ids = fn ($appointments) => $appointments->sortBy('id')
    ->mapWithKeys(fn ($one) => [$one->id => $one->calcomHostMapping?->staff_id === null ? null : (string) $one->calcomHostMapping->staff_id]);

$results['loaded one by one'] = $staff_ids(Appointment::all());
$results['loaded eagerly'] = $staff_ids(Appointment::with('calcomHostMapping.staff')->get());
$results['with a mapping'] = Appointment::whereHas('calcomHostMapping')->orderBy('id')->pluck('id');
$results["with another company's mapping"] = Appointment::whereHas(
    'calcomHostMapping',
    fn ($query) => $query->whereColumn('calcom_host_mappings.company_id', '<>', 'appointments.company_id'),
)->pluck('id');
$mapping = Appointment::find(1)->calcomHostMapping;
$staff = $mapping->staff;
$results['staff'] = ['appointments' => $staff->appointments()->pluck('id'), 'mappings' => $staff->calcomHostMappings()->active()->count()];
$audit = $mapping->audits()->first();
$results['audits'] = $mapping->audits()->pluck('action');
$results['casts'] = [$mapping->is_active, $mapping->confidence_score, gettype((object) $audit->new_values)];
DB::table('calcom_host_mappings')->where('id', $mapping->id)->update(['is_active' => false]);
$results['with an inactive mapping'] = Appointment::find(1)->calcomHostMapping;
echo json_encode($results, JSON_THROW_ON_ERROR);

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

$found = fn ($appointments) => $appointments->sortBy('id')
    ->mapWithKeys(fn ($one) => [$one->id => $one->calcomHostMapping?->staff_id === null ? null : (string) $one->calcomHostMapping->staff_id]);

$said['each alone'] = $found(Appointment::all());
$said['all at once'] = $found(Appointment::with('calcomHostMapping.staff')->get());
$said['asked about'] = Appointment::whereHas('calcomHostMapping')->orderBy('id')->pluck('id');
$said["its mapping is another company's"] = Appointment::whereHas(
    'calcomHostMapping',
    fn ($query) => $query->whereColumn('calcom_host_mappings.company_id', '<>', 'appointments.company_id'),
)->pluck('id');
$mapping = Appointment::find(1)->calcomHostMapping;
$staff = $mapping->staff;
$said['staff'] = ['appointments' => $staff->appointments()->pluck('id'), 'mappings' => $staff->calcomHostMappings()->active()->count()];
$audit = $mapping->audits()->first();
$said['audits'] = $mapping->audits()->pluck('action');
$said['casts'] = [$mapping->is_active, $mapping->confidence_score, gettype((object) $audit->new_values)];
DB::table('calcom_host_mappings')->where('id', $mapping->id)->update(['is_active' => false]);
$said['an inactive mapping'] = Appointment::find(1)->calcomHostMapping;
echo json_encode($said, JSON_THROW_ON_ERROR);
